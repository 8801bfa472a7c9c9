# medseg in a container, for CPU:
#   docker build -t medseg .
#   docker run --rm --network none --user "$(id -u):$(id -g)" -v "$PWD:/data" \
#     medseg segment scan.nii.gz -b hippocampus_mr_segmentation -o out
# For NVIDIA GPUs take torch from the default index, whose Linux build brings CUDA, and give the container the GPUs:
#   docker build -t medseg:cuda --build-arg TORCH_INDEX_URL= .
#   docker run --rm --gpus all --network none --user "$(id -u):$(id -g)" -v "$PWD:/data" medseg:cuda \
#     segment scan.nii.gz -b hippocampus_mr_segmentation -o out
FROM python:3.11-slim

# Beside the default index, not instead of it: where it cannot be reached, the default index still has a torch.
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    PATH=/opt/venv/bin:$PATH

# Any user id may run the image (--user), so the home folder is writable for all; USER names it for caches.
RUN useradd --create-home --uid 1000 medseg && chmod 1777 /home/medseg && mkdir -m 1777 /data
RUN python3 -m venv /opt/venv

WORKDIR /opt/medseg
COPY constraints.txt ./
RUN pip install ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} -c constraints.txt torch==2.13.0

COPY pyproject.toml README.md LICENSE ./
COPY medseg medseg
COPY bundles bundles
RUN pip install -c constraints.txt '.[demo]'

USER medseg
ENV HOME=/home/medseg USER=medseg MEDSEG_HOME=/home/medseg/.medseg MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /data
ENTRYPOINT ["medseg"]
CMD ["--help"]
