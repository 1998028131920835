"""The project put right: fitted on repayment, without the neighbourhood."""
