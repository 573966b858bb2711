# One image for every component: `docker run IMAGE python -m apiserver --help`.
# deploy/build-image.sh puts the dependencies into wheels/, so that nothing is downloaded in here. Without wheels/ they
# come from PyPI: docker build --build-arg BASE=python:3.11-slim --tag mk8s.local/minik8s .
ARG BASE=mk8s.local/base
FROM ${BASE}

COPY . /opt/minik8s
RUN cd /opt/minik8s \
    && python3 -m venv /opt/venv \
    && if [ -d wheels ]; then set -- --no-index --find-links wheels; fi \
    && /opt/venv/bin/pip --disable-pip-version-check install --quiet --no-cache-dir "$@" ".[docker]" \
    && rm -rf /opt/minik8s

ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONUNBUFFERED=1
CMD ["mk8s"]
