"""The app: an API that predicts and explains (``api``), and a page that calls it (``page``).

``python -m xnn.app`` starts both; ``python -m xnn.app.ship`` makes a model that it serves by default.
"""
