"""One file a family: names, and the tables behind them."""
