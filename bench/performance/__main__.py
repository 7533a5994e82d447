"""python -m bench.performance."""

from bench.performance.command import main

if __name__ == "__main__":
    raise SystemExit(main())
