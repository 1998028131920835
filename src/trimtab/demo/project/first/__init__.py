"""The project as first written: fitted on past approvals, with the neighbourhood."""
