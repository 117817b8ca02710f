# xpmlp in a container.
#
#   CPU:         docker build -t xpmlp .
#   NVIDIA GPU:  docker build -t xpmlp:cuda13 --build-arg GPU=cuda13 .    (or cuda12)
#
# GPU names one of xpmlp's extras: CuPy and the CUDA toolkit come as wheels, so that no CUDA base
# image is needed. Whoever publishes an image adds
# `--label org.opencontainers.image.version=...`; the version itself stands in xpmlp alone.

ARG BASE_IMAGE=python:3.13-slim
ARG GPU=""

FROM ${BASE_IMAGE} AS build
ARG GPU
RUN case "${GPU}" in \
        "" | cuda12 | cuda13) ;; \
        *) echo "GPU=${GPU}: give cuda12 or cuda13, or leave it out for the CPU" >&2; exit 1 ;; \
    esac
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
# The base image's pip installs into the environment, which needs none of its own. The byte code
# that pip compiles stays: nothing can be compiled later on a read-only root.
RUN python -m venv --without-pip /opt/xpmlp
WORKDIR /src
# The dependencies have a layer of their own, so that a change of xpmlp fetches none of them again.
COPY pyproject.toml ./
RUN python -c 'import sys, tomllib; \
        project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
        extra = project["optional-dependencies"].get(sys.argv[1], []); \
        print(*project["dependencies"], *extra, sep="\n")' "${GPU}" > requirements.txt \
    && pip --python /opt/xpmlp install --requirement requirements.txt
COPY README.md LICENSE ./
COPY xpmlp xpmlp
RUN pip --python /opt/xpmlp install --no-deps .

FROM ${BASE_IMAGE}
ARG GPU
LABEL org.opencontainers.image.title="xpmlp" \
      org.opencontainers.image.description="The multilayer perceptron, written once as algebra" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/xpmlp /opt/xpmlp
# Caches go to /tmp, the one place besides /out that is written: with --read-only add --tmpfs /tmp.
# Both NVIDIA variables are empty in the CPU image, which is as if they were not set: on a host
# whose default runtime is NVIDIA's it is given no GPU.
ENV PATH=/opt/xpmlp/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    CUPY_CACHE_DIR=/tmp/cupy \
    NVIDIA_VISIBLE_DEVICES=${GPU:+all} \
    NVIDIA_DRIVER_CAPABILITIES=${GPU:+compute,utility}
# Runs go to /out/runs, for whoever mounts a directory at /out. It is root's and no VOLUME, so
# that a forgotten mount is refused at once, not trained for and thrown away. (mkdir because some
# builders leave WORKDIR to be made when the container starts, as its user's.)
RUN mkdir /out
WORKDIR /out
# Any other user will do as well: nothing belongs to this one.
USER 10001:10001
# How a run fares is told by its exit status. This only tells whether the container can still
# start a process and load xpmlp; seldom, for it takes its time from the training.
HEALTHCHECK --interval=5m --timeout=30s CMD ["xpmlp", "--version"]
ENTRYPOINT ["xpmlp"]
CMD ["--help"]
