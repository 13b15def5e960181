"""Between a server's folder and plain directories of packages."""
