"""What shows that the program works, shipped with it: simulation, proof, labs of real NATs, the demo."""
