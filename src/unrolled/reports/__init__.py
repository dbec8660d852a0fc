"""Reports: tables and pictures made from returned data."""
