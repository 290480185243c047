"""The app: an API that predicts and explains, and a page that asks it.

- `api`: the API (FastAPI); `ui`: the page (Streamlit), which knows the API by HTTP only
- `served`: the model that is served; `explaining`: what is answered about an image
- `guard`, `work`, `impatient`: the limits of a request; `settings`, `logs`, `errors`

`python -m xnn.app` starts both; `make app` does so.
"""
