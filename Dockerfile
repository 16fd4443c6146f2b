# Three images from one file:
#   operator   the operator: no torch
#   service    every service and program, on processors; carries the examples
#   gpu        scoring and trainer on accelerators, and the embedded engine there
#
#   docker build --target operator --build-arg BASE=python:3.11-slim-bookworm@sha256:… .
#
# A published image names its base by digest. Any base does that has python3 with venv, 3.11 or newer.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS tools
WORKDIR /src
COPY requirements/build.txt requirements/sbom.txt requirements/
RUN ["python3", "-m", "venv", "/tools"]
RUN ["/tools/bin/pip", "install", "--no-cache-dir", "--no-deps", "--require-hashes", "-r", "requirements/build.txt", "-r", "requirements/sbom.txt"]

FROM tools AS wheel
COPY pyproject.toml README.md ./
COPY services services
COPY operator operator
RUN ["/tools/bin/pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "/wheel", "."]

# What a process imports is compiled here, since it may not write beside it. Beside the packages lies their list,
# sbom.cdx.json; what the base holds is the base's to list.
FROM tools AS operator-python
COPY requirements/operator.txt requirements/
RUN ["python3", "-m", "venv", "--without-pip", "/opt/selfie"]
RUN ["/tools/bin/pip", "--python", "/opt/selfie/bin/python", "install", "--no-cache-dir", "--no-deps", "--require-hashes", "-r", "requirements/operator.txt"]
# A class for every kind of object and of call, 120 MB of them, each loaded when somebody asks for it: the
# operator asks for none.
RUN ["python3", "-c", "import pathlib; [file.unlink() for file in list(pathlib.Path('/opt/selfie').glob('lib/*/site-packages/kubernetes/**/client/**/*.py*')) if {'api', 'models'} & set(file.parts) and not file.name.startswith('__init__.')]"]
COPY --from=wheel /wheel /wheel
RUN ["/tools/bin/pip", "--python", "/opt/selfie/bin/python", "install", "--no-cache-dir", "--no-index", "--no-deps", "--find-links", "/wheel", "selfie"]
RUN ["/tools/bin/cyclonedx-py", "environment", "--output-reproducible", "--output-file", "/opt/selfie/sbom.cdx.json", "/opt/selfie/bin/python"]

FROM tools AS service-python
COPY requirements/service.txt requirements/
RUN ["python3", "-m", "venv", "--without-pip", "/opt/selfie"]
RUN ["/tools/bin/pip", "--python", "/opt/selfie/bin/python", "install", "--no-cache-dir", "--no-deps", "--require-hashes", "-r", "requirements/service.txt"]
COPY --from=wheel /wheel /wheel
RUN ["/tools/bin/pip", "--python", "/opt/selfie/bin/python", "install", "--no-cache-dir", "--no-index", "--no-deps", "--find-links", "/wheel", "selfie"]
RUN ["/tools/bin/cyclonedx-py", "environment", "--output-reproducible", "--output-file", "/opt/selfie/sbom.cdx.json", "/opt/selfie/bin/python"]

FROM tools AS gpu-python
COPY requirements/gpu.txt requirements/
RUN ["python3", "-m", "venv", "--without-pip", "/opt/selfie"]
RUN ["/tools/bin/pip", "--python", "/opt/selfie/bin/python", "install", "--no-cache-dir", "--no-deps", "--require-hashes", "-r", "requirements/gpu.txt"]
COPY --from=wheel /wheel /wheel
RUN ["/tools/bin/pip", "--python", "/opt/selfie/bin/python", "install", "--no-cache-dir", "--no-index", "--no-deps", "--find-links", "/wheel", "selfie"]
RUN ["/tools/bin/cyclonedx-py", "environment", "--output-reproducible", "--output-file", "/opt/selfie/sbom.cdx.json", "/opt/selfie/bin/python"]

FROM ${BASE} AS runtime
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}"
# The root may be read-only: home, caches and temporary files are below /tmp.
ENV PATH=/opt/selfie/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    XDG_CACHE_HOME=/tmp/cache \
    HF_HOME=/tmp/cache/huggingface \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    LANG=C.UTF-8
WORKDIR /tmp
USER 10001:10001
ENTRYPOINT ["python", "-m"]

FROM runtime AS operator
LABEL org.opencontainers.image.title="selfie-operator" \
      org.opencontainers.image.description="Takes SelfieRuns on Kubernetes through their rounds."
COPY --from=operator-python /opt/selfie /opt/selfie
CMD ["selfie_operator"]

FROM runtime AS gpu
LABEL org.opencontainers.image.title="selfie-gpu" \
      org.opencontainers.image.description="Scoring and training of SelfieRuns on accelerators."
COPY --from=gpu-python /opt/selfie /opt/selfie
CMD ["selfie.cli"]

FROM runtime AS service
LABEL org.opencontainers.image.title="selfie-service" \
      org.opencontainers.image.description="Services and programs of SelfieRuns, on processors."
COPY --from=service-python /opt/selfie /opt/selfie
COPY examples /usr/share/selfie/examples
CMD ["selfie.cli"]
