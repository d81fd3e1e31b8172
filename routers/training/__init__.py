"""Fitting routers, offline: scikit-learn, scipy, torch and pyarrow are welcome here and nowhere else in `routers`."""
