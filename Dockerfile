# senet_zoo on a CPU, as a user without rights, with the checkpoints of the package inside and no network needed:
#   docker build -t senet-zoo .
#   docker run --rm --network none -v "$PWD/samples:/pictures:ro" senet-zoo predict /pictures
# Another index of PyTorch brings its GPU build: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130, and --gpus all
FROM python:3.13-slim AS built
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /source
COPY . .
RUN python -m venv /opt/senet_zoo \
    && /opt/senet_zoo/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX" "torch>=2.10" torchvision \
    && /opt/senet_zoo/bin/pip install --no-cache-dir ".[heif]"

FROM python:3.13-slim
COPY --from=built /opt/senet_zoo /opt/senet_zoo
RUN useradd --uid 10001 --create-home zoo
USER 10001
WORKDIR /home/zoo
ENV PATH=/opt/senet_zoo/bin:$PATH HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
ENTRYPOINT ["senet-zoo"]
CMD ["--help"]
