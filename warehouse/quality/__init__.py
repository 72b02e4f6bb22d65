"""Quality of stored tables: what is expected of them, how that is checked, and the page that shows it."""
