# One image for the gateway and the example responders:
#   docker run … nats-http-gateway                                                the gateway
#   docker run … nats-http-gateway python -m nats_http_gateway.responders.greet   a responder
ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS python
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore

# Changes with the locked requirements only. There is no compiler, so all are wheels; nkeys, pure Python, has none.
FROM python AS dependencies
COPY requirements/gateway.txt /tmp/
RUN python -m venv --without-pip /opt/venv && \
    pip --python /opt/venv/bin/python install --only-binary :all: --no-binary nkeys \
        --require-hashes -r /tmp/gateway.txt

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
# The image of Python has no bytecode of its library, and on a read-only root every start and every health check would
# compile it anew. The second command leaves that of the modules which are really used.
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    PYTHONDONTWRITEBYTECODE=1 pip --python /opt/venv/bin/python install --no-deps --no-index /wheel/*.whl && \
    python -c "import encodings.idna, nats_http_gateway.commands.cli, nats_http_gateway.commands.serve; \
               import nats_http_gateway.responders.greet, nats_http_gateway.responders.notes; \
               import nats_http_gateway.responders.clock"
ENV PYTHONDONTWRITEBYTECODE=1

# `make release` says them.
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="nats-http-gateway" \
      org.opencontainers.image.description="An HTTP gateway in front of NATS services" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="https://github.com/nats-http-gateway/nats-http-gateway" \
      org.opencontainers.image.documentation="https://github.com/nats-http-gateway/nats-http-gateway/blob/main/docs/index.md"
WORKDIR /
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --start-interval=1s --retries=3 CMD ["nats-http", "healthcheck"]
CMD ["nats-http", "serve"]
