# Two stages: uv builds the environment from the lock file, the image that runs has neither uv nor a compiler.

FROM python:3.13.9-slim-bookworm AS build
RUN pip install --no-cache-dir uv==0.13.9
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/opt/filiere
WORKDIR /source
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --frozen --no-dev --extra postgres --extra sparkplug --no-install-project
COPY filiere filiere
COPY collector collector
COPY processing processing
COPY api api
COPY dashboards dashboards
COPY simulators simulators
RUN uv sync --frozen --no-dev --extra postgres --extra sparkplug --no-editable

FROM python:3.13.9-slim-bookworm
RUN install -d -o 10001 -g 10001 /data
COPY --from=build /opt/filiere /opt/filiere
ENV PATH=/opt/filiere/bin:$PATH PYTHONUNBUFFERED=1 FILIERE_DATA_DIR=/data
USER 10001:10001
WORKDIR /data
VOLUME /data
ENTRYPOINT ["filiere"]
CMD ["--help"]
