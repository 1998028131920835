"""What became true: quality from late labels, without labels, and concept drift."""
