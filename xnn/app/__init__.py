"""The app: an API that predicts and explains (``api``), and a page that calls it (``page``).

``python -m xnn.app`` starts both; ``xnn ship`` packages a trained run for them.
"""
