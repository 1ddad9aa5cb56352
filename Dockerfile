ARG PYTHON=3.11

FROM docker.io/library/python:${PYTHON}-slim-bookworm AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
COPY requirements requirements
# The secrets are for a private package index or certificate authority: `make image` passes those of pip on this machine.
# --no-deps, because the locks name all packages that are needed, and omit dependencies that are never imported.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=certificates \
    --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /opt/transcribed \
 && python -m venv --without-pip /build/tools \
 && python -m pip --python /opt/transcribed/bin/python install --no-compile --no-deps --require-hashes -r requirements/image.txt \
 && python -m pip --python /build/tools/bin/python install --no-compile --no-deps --require-hashes -r requirements/image-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
# Of Moonshine only the models are included, and the speech for the measurement at the start. The networks are built here, so
# that a container starts at once, even if it cannot write.
RUN packages=$(/opt/transcribed/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
 && tools=$(/build/tools/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
 && /build/tools/bin/hatchling build -t wheel -d dist \
 && python -m pip --python /opt/transcribed/bin/python install --no-compile --no-deps --no-index dist/*.whl \
 && mkdir -p $packages/moonshine_voice/assets \
 && cp -r $tools/moonshine_voice/assets/tiny-en $tools/moonshine_voice/assets/beckett.wav \
    $tools/moonshine_voice/assets/two_cities.wav $packages/moonshine_voice/assets \
 && cp -r $tools/moonshine_voice-*.dist-info $packages \
 && if [ -d $tools/moonshine_cpp ]; then \
      mkdir -p $packages/moonshine_cpp/models \
      && cp -r $tools/moonshine_cpp/models/base-en $packages/moonshine_cpp/models \
      && cp -r $tools/moonshine_cpp-*.dist-info $packages; \
    fi \
 && PYTHONPATH=$tools TRANSCRIBED_CACHE=/opt/transcribed/cache PYTHONDONTWRITEBYTECODE=1 \
    /opt/transcribed/bin/transcribed transcribe $packages/moonshine_voice/assets/beckett.wav
# Unused files are removed: a library for programs in C, tools for models, tests, and the data of Amazon's services except
# those that provide credentials. A missing path ends the build, because the package has changed. Finally speech is
# recognised, to check what remains.
RUN packages=$(/opt/transcribed/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
 && cd $packages \
 && rm onnxruntime/capi/libonnxruntime.so.* \
 && rm -r onnxruntime/quantization onnxruntime/tools onnxruntime/transformers numpy/f2py \
 && find . -type d -name tests -prune -exec rm -r {} + \
 && find botocore/data -mindepth 1 -maxdepth 1 -type d \
    ! -name signin ! -name sso ! -name sso-oidc ! -name sts ! -name transcribe -exec rm -r {} + \
 && cd /build \
 && /opt/transcribed/bin/python -m compileall -q -j 0 $packages \
 && /build/tools/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
    -o /opt/transcribed/sbom.cdx.json /opt/transcribed/bin/python \
 && TRANSCRIBED_CACHE=/opt/transcribed/cache \
    /opt/transcribed/bin/transcribed transcribe $packages/moonshine_voice/assets/beckett.wav \
 && chmod -R a+rX /opt/transcribed

FROM docker.io/library/python:${PYTHON}-slim-bookworm
LABEL org.opencontainers.image.title="transcribed" \
      org.opencontainers.image.description="A real-time transcription server: speech in, words out while they are spoken, offline." \
      org.opencontainers.image.version="0.1.0"
# Every user can write a new volume, which gets the owner and the mode of its folder here.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent transcribed \
 && install -d -o transcribed -g transcribed -m 1777 /data/audio /data/certificates /data/models /data/transcripts \
    /data/vocabularies /data/vocabulary-filters
COPY --from=build /opt/transcribed /opt/transcribed
ENV PATH=/opt/transcribed/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TMPDIR=/var/tmp \
    TRANSCRIBED_AUDIO=/data/audio \
    TRANSCRIBED_CACHE=/opt/transcribed/cache \
    TRANSCRIBED_CERTIFICATES=/data/certificates \
    TRANSCRIBED_HOST=0.0.0.0 \
    TRANSCRIBED_KEYS_KEY=/data/certificates/keys-key \
    TRANSCRIBED_MODELS=/data/models \
    TRANSCRIBED_PORT=3000 \
    TRANSCRIBED_TRANSCRIPTS=/data/transcripts/transcripts.db \
    TRANSCRIBED_VOCABULARIES=/data/vocabularies \
    TRANSCRIBED_VOCABULARY_FILTERS=/data/vocabulary-filters
WORKDIR /data
USER transcribed
VOLUME /data/audio /data/certificates /data/models /data/transcripts /data/vocabularies /data/vocabulary-filters /var/tmp
EXPOSE 3000 8443
# http.client instead of urllib, which would use a proxy that the environment names.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['TRANSCRIBED_PORT']), timeout=2); c.request('GET', '/ready'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["transcribed"]
CMD ["serve"]
