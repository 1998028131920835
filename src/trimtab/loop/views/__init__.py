"""What a project's loop was, is and will do, read from the store without acting."""
