"""Speed beside other frameworks: the project and its peers take short turns at the same work. `make bench`."""
