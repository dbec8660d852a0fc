"""Forecasting: from windows of series to the steps that come next."""
