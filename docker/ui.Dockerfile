# The page, a client of the API at XNN_API. It needs no torch.
# a newer digest: docker buildx imagetools inspect python:3.11-slim
FROM python:3.11.16-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7 AS python

FROM python AS packages
COPY requirements.lock docker/ui.txt /build/
WORKDIR /build
RUN awk '/^uv==/ {p = 1} p {print} p && !/\\$/ {exit}' requirements.lock > uv.lock \
 && pip install --no-cache-dir --require-hashes -r uv.lock \
 && uv venv /packages \
 && uv pip install --no-cache --compile-bytecode --python /packages/bin/python -c requirements.lock -r ui.txt

FROM python
COPY --from=packages /packages /packages
COPY xnn /app/xnn
WORKDIR /app
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin xnn
USER xnn
ENV PATH=/packages/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/app XNN_UI_HOST=0.0.0.0 XNN_API=http://api:8000
EXPOSE 8501
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
CMD ["python", "-m", "xnn.app", "page"]
