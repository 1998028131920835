"""What operations do, a module a noun: each calls the layers below and adds nothing of its own."""
