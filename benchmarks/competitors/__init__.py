"""One file per competitor, so that a reader can judge it alone; each is a process that answers the driver."""
