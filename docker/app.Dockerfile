# The API with the bundled model. From the project's root:
#   docker build -f docker/app.Dockerfile -t xnn-api . && docker run --rm -p 127.0.0.1:8000:8000 xnn-api
# a newer digest: docker buildx imagetools inspect python:3.11-slim
FROM python:3.11.16-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7 AS python

FROM python AS packages
COPY requirements.lock docker/app.txt /build/
WORKDIR /build
# the locked version of uv, which checks every package against the lock's version and hashes
RUN awk '/^uv==/ {p = 1} p {print} p && !/\\$/ {exit}' requirements.lock > uv.lock \
 && pip install --no-cache-dir --require-hashes -r uv.lock \
 && uv venv /packages \
 && uv pip install --no-cache --compile-bytecode --python /packages/bin/python -c requirements.lock -r app.txt

FROM python
COPY --from=packages /packages /packages
COPY xnn /app/xnn
COPY models /app/models
WORKDIR /app
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin xnn
USER xnn
ENV PATH=/packages/bin:$PATH PYTHONDONTWRITEBYTECODE=1 MPLCONFIGDIR=/tmp HF_HOME=/tmp/hub MALLOC_ARENA_MAX=1 \
    XNN_HOST=0.0.0.0 XNN_HOSTS=127.0.0.1,localhost,api
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
CMD ["python", "-m", "xnn.app.api"]
