"""Finding runs: a filter language, orders, pages and groups over columns that are held in memory."""
