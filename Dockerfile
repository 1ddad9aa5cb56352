ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
WORKDIR /build
COPY requirements/run.txt requirements/run.txt
RUN python -m venv /opt/transcribed \
 && /opt/transcribed/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/transcribed/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation .
# The networks are built here, so that a container starts at once, also where it can write nothing.
RUN TRANSCRIBED_CACHE=/opt/transcribed/cache /opt/transcribed/bin/python -c "\
from transcribed.engines.registry import load_engine; \
from transcribed.settings import RecognitionSettings; \
settings = RecognitionSettings(); \
load_engine(settings.engine, settings.for_engines())" \
 && chmod -R a+rX /opt/transcribed/cache

FROM python:${PYTHON}-slim-bookworm
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent transcribed \
 && install -d -o transcribed -g transcribed /data/audio /data/transcripts \
 && install -d -m 700 -o transcribed -g transcribed /data/certificates
COPY --from=build /opt/transcribed /opt/transcribed
ENV PATH=/opt/transcribed/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TRANSCRIBED_AUDIO=/data/audio \
    TRANSCRIBED_CACHE=/opt/transcribed/cache \
    TRANSCRIBED_CERTIFICATES=/data/certificates \
    TRANSCRIBED_HOST=0.0.0.0 \
    TRANSCRIBED_PORT=3000 \
    TRANSCRIBED_TRANSCRIPTS=/data/transcripts/transcripts.db
USER transcribed
VOLUME /data/audio /data/certificates /data/transcripts
EXPOSE 3000 8443
# http.client and not urllib, which would ask a proxy that the environment names.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['TRANSCRIBED_PORT']), timeout=2); c.request('GET', '/ready'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["transcribed"]
CMD ["serve"]
