"""What every room uses: errors, files, names and numbers, and the types that data, networks and objectives share."""
