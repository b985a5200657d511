# syntax=docker/dockerfile:1
# One recipe for every program: --build-arg SERVICE=gateway (or catalog, …, simulators, backbone).
# The services' images share the layer of dependencies; they differ in one small package.
FROM python:3.11-slim-bookworm AS build
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never
WORKDIR /build
COPY bootstrap.lock requirements.lock requirements.services.lock ./
ARG LOCK=requirements.services.lock
RUN pip install --no-cache-dir --require-hashes --requirement bootstrap.lock \
    && uv venv /app \
    && uv pip install --no-cache --python /app --require-hashes --requirement "$LOCK"
COPY libs libs
COPY services services
COPY simulators simulators
COPY backbone backbone
ARG SERVICE
# --no-sources: the workspace's root, to which the packages refer, is not in the image.
RUN case "$SERVICE" in \
      backbone) packages="libs/common services/* simulators backbone" ;; \
      simulators) packages="simulators" ;; \
      *) packages="libs/common services/$SERVICE" ;; \
    esac \
    && for package in $packages; do \
         uv pip install --no-cache --no-sources --python /app --no-deps "./$package" || exit 1; \
       done

FROM python:3.11-slim-bookworm
ARG SERVICE
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 SERVICE=$SERVICE
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin backbone \
    && install --directory --owner 10001 --group 10001 /var/lib/backbone
COPY --from=build /app /app
USER 10001
WORKDIR /var/lib/backbone
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=6 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
# The module is the service's name with underscores.
ENTRYPOINT ["/bin/sh", "-c", "exec python -m \"$(echo \"$SERVICE\" | tr - _)\" \"$@\"", "backbone"]
CMD ["serve"]
