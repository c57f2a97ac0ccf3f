"""What is made of finished runs: tables and the page that answers a sweep's question."""
