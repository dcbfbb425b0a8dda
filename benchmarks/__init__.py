"""How fast, against whom: the project and its peers take short turns at the same work. `make bench` runs it all."""
