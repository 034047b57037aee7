# One image for the gateway and the example responders:
#   docker run … nats-http-gateway                                                the gateway
#   docker run … nats-http-gateway python -m nats_http_gateway.responders.greet   a responder
ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS python
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore

# Changes with the locked requirements only. There is no compiler, so all are wheels; nkeys, pure Python, has none.
# Symbols for debuggers are half of what the wheels take. Bytecode comes below.
FROM python AS dependencies
RUN apt-get update && apt-get install --yes --no-install-recommends binutils
COPY requirements/gateway.txt /tmp/
RUN python -m venv --without-pip /opt/venv && \
    pip --python /opt/venv/bin/python install --only-binary :all: --no-binary nkeys --no-compile \
        --require-hashes -r /tmp/gateway.txt && \
    find /opt/venv -name '*.so' -exec strip --strip-debug {} +

FROM python AS wheel
WORKDIR /src
COPY requirements/build.txt /tmp/
RUN pip install --require-hashes -r /tmp/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY release/readme.py release/
COPY app app
COPY responders responders
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheel .

FROM python
COPY --from=dependencies /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    GATEWAY_HOST=0.0.0.0
# On a read-only root every start and every health check would compile what has no bytecode. So each module of the
# package is loaded once, with all that it loads, and with what libraries load when they are used. Only these modules
# get bytecode. Nothing is installed later, so pip goes.
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    pip --python /opt/venv/bin/python install --no-compile --no-deps --no-index /wheel/*.whl && \
    rm -rf /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/ensurepip /usr/local/bin/pip* && \
    nats-http serve --help >/dev/null && \
    python - <<'LOAD'
import pkgutil
from importlib import import_module

import nats_http_gateway

names = [module.name for module in pkgutil.walk_packages(nats_http_gateway.__path__, "nats_http_gateway.")]
for name in ("otel", "spans"):  # their libraries are not in the image
    names.remove(f"nats_http_gateway.observe.{name}")
names += ["encodings.idna", "encodings.utf_8_sig", "fastapi.telemetry._runtime", "jsonschema_rs"]
names += ["limits.aio.storage.redis", "nacl.signing", "nkeys", "uvicorn.lifespan.on", "uvicorn.loops.uvloop"]
names += ["uvicorn.protocols.http.httptools_impl", "uvicorn.supervisors.statreload", "watchfiles"]
for name in names:
    import_module(name)
nats_http_gateway.main.create_app()
LOAD
ENV PYTHONDONTWRITEBYTECODE=1

# `make release` says them.
ARG VERSION=unreleased
ARG REVISION=unknown
ARG PYTHON_VERSION
LABEL org.opencontainers.image.title="nats-http-gateway" \
      org.opencontainers.image.description="An HTTP gateway in front of NATS services" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="https://github.com/nats-http-gateway/nats-http-gateway" \
      org.opencontainers.image.base.name="docker.io/library/python:${PYTHON_VERSION}-slim" \
      org.opencontainers.image.documentation="https://github.com/nats-http-gateway/nats-http-gateway/blob/main/docs/index.md"
WORKDIR /
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=2m --start-interval=1s --retries=3 CMD ["nats-http", "healthcheck"]
CMD ["nats-http", "serve"]
