# The service on processors alone: docker build -t emogram . && docker run -p 127.0.0.1:8000:8000 -e EMOGRAM_TOKEN=... emogram
# docs/service.md says more. Nothing of the training framework is inside.

# Another image with Python 3.11 to 3.13 and its venv, such as that of a mirror: --build-arg BASE_IMAGE=...
ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS build
# Of a mirror of Python's packages, likewise.
ARG PIP_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python3 -m venv /opt/emogram
# What others made changes seldom, and stays in a layer of its own.
COPY requirements/core.txt requirements/serve.txt requirements/
RUN /opt/emogram/bin/pip install -r requirements/serve.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
# pip and what Python 3.11 sets beside it are of no use in the image, and somebody who broke in could make use of them.
RUN /opt/emogram/bin/pip install --no-deps . && /opt/emogram/bin/pip uninstall --yes setuptools pip

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="emogram" \
      org.opencontainers.image.description="Speech emotion recognition from spectrograms, as a service" \
      org.opencontainers.image.licenses="MIT AND CC-BY-NC-SA-4.0"
RUN groupadd --gid 10001 emogram \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin emogram \
    && install --directory --owner=emogram --group=emogram --mode=0700 /data
COPY --from=build /opt/emogram /opt/emogram
ENV PATH="/opt/emogram/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    EMOGRAM_DATA=/data \
    EMOGRAM_CACHE=/tmp/emogram
USER 10001:10001
# Jobs, which survive a restart. All else may be read-only, with a /tmp in memory.
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('EMOGRAM_PORT', 8000)}/readyz\", timeout=4)"]
ENTRYPOINT ["emogram", "serve", "--host", "0.0.0.0"]
