# The image of a registry. docs/deployment.md says how to build and run it; tests/deployment checks this file.
# One Python for both stages: the environment made in the first is moved as it is, and finds its interpreter by path.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY deploy/requirements.txt deploy/requirements-build.txt deploy/
# Wheels only, each with the hash that was locked: nothing of a dependency runs while the image is made.
RUN python -m venv --without-pip /opt/steelyard && python -m venv --without-pip tools \
 && pip --python /opt/steelyard install --require-hashes --only-binary :all: -r deploy/requirements.txt \
 && pip --python tools install --require-hashes --only-binary :all: -r deploy/requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN tools/bin/hatchling build -t wheel -d dist \
 && pip --python /opt/steelyard install --no-deps --no-index dist/*.whl

FROM python:3.13-slim
LABEL org.opencontainers.image.title="Steelyard" \
      org.opencontainers.image.description="An open, self-hosted registry for machine-learning models" \
      org.opencontainers.image.version="0.2.0" \
      org.opencontainers.image.licenses="Apache-2.0"
# The number is fixed, so that volumes and security contexts can name it.
RUN groupadd --system --gid 10001 steelyard \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/steelyard --shell /usr/sbin/nologin steelyard \
 && install -d -o 10001 -g 10001 -m 0700 /var/lib/steelyard \
 && install -d /etc/steelyard
COPY --from=build /opt/steelyard /opt/steelyard
ENV PATH=/opt/steelyard/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    STEELYARD_HOST=0.0.0.0 \
    STEELYARD_PORT=8950 \
    STEELYARD_DATA=/var/lib/steelyard
USER 10001:10001
# Where steelyard.toml is looked for.
WORKDIR /etc/steelyard
VOLUME /var/lib/steelyard
EXPOSE 8950
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as web; web.urlopen(f\"http://127.0.0.1:{os.environ['STEELYARD_PORT']}/health\", timeout=4)"]
ENTRYPOINT ["steelyard"]
CMD ["serve"]
