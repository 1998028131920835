"""Which inputs moved, broke or came apart, in which windows and in which form."""
