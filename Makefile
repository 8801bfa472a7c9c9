# make install, then make demo. Everything goes into .venv of this clone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.medseg-installed

# The one big dependency, installed first so that nothing else chooses its build. On Linux pip's default is a build
# for NVIDIA GPUs that also runs without one. For another CUDA version, or a smaller CPU-only build, take the index
# URL that pytorch.org shows under "Start Locally": make install TORCH_INDEX_URL=https://...
TORCH ?= torch==2.13.0
TORCH_INDEX_URL ?=

# Labelled images for training and for the tests marked "data"; this default is exported only where it exists.
MEDSEG_DATA ?= ../shared/data
DATA_FOLDER := $(shell CDPATH= cd -- "$(MEDSEG_DATA)" 2>/dev/null && pwd)
ifneq ($(DATA_FOLDER),)
override MEDSEG_DATA := $(DATA_FOLDER)
export MEDSEG_DATA
endif

.PHONY: help install demo test test-slow test-viewers test-monailabel fuzz lint format train-hippocampus train-nuclei \
	train-tumour train-all bench bench-networks bench-training docs-inputs constraints docker clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP)  ## medseg with its demo and development tools in .venv

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "medseg needs Python 3.11 or newer: make install PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install $(if $(TORCH_INDEX_URL),--extra-index-url $(TORCH_INDEX_URL)) -c constraints.txt '$(TORCH)'
	$(BIN)/pip install -c constraints.txt -e '.[demo,dev]'
	@touch $@

demo: install  ## segment example images into demo_output/
	$(BIN)/medseg demo -o demo_output

test: install  ## the tests but the slow ones, those of viewers and the long fuzzing
	$(BIN)/pytest -n auto --maxprocesses 8 --dist loadfile -m "not slow and not fuzz and not viewers"

test-slow: install  ## only the slow tests: training, killed processes
	$(BIN)/pytest -m slow

fuzz: install  ## 100,000 damaged files of each kind through the readers, a million expressions and configs
	nice $(BIN)/python -m tests.fuzz
	nice $(BIN)/pytest -m fuzz

test-viewers: install  ## OHIF, NiiVue, Orthanc and DICOM validators on our files; installs them (Debian packages as root)
	tests/viewers/setup.sh
	$(BIN)/pytest -m viewers tests/viewers

test-monailabel: install  ## MONAI Label's inference class on our bundles; installs it without dependencies below build/
	rm -rf build/monailabel
	$(BIN)/pip install --quiet --no-deps --target build/monailabel monailabel==0.8.5
	MONAILABEL=$(CURDIR)/build/monailabel $(BIN)/pytest -m monailabel tests/bundle/test_monai_label.py

lint: install  ## style, types, import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train-hippocampus: install  ## five folds and their ensemble; needs MEDSEG_DATA; takes hours on a CPU; writes below runs/
	$(BIN)/medseg crossval data_manifests/hippocampus.json -o runs/hippocampus_mr_segmentation --folds 5 --steps 1600 \
	  --set min_voxels=50 --join

train-nuclei: install  ## by the manifest's splits; needs MEDSEG_DATA; takes hours on a CPU; writes below runs/
	test -d runs/nuclei_first || \
	  $(BIN)/medseg train data_manifests/nuclei.json -o runs/nuclei_first --steps 12000 --set epoch_steps=1000 \
	    --set optimiser.ema=0.999 --set 'network.widths=[32,64,128,256,256]' --set network.options.patch=2
	test -d runs/nuclei_microscopy_segmentation || \
	  $(BIN)/medseg train data_manifests/nuclei.json -o runs/nuclei_microscopy_segmentation --pretrained runs/nuclei_first \
	    --steps 1500 --set epoch_steps=500 --set optimiser.ema=0.995 --set augment.spatial_chance=0

train-tumour: install  ## one of the source's folds held out; needs MEDSEG_DATA; hours of one core with bf16; writes below runs/
	test -d runs/brain_tumor_first || \
	  $(BIN)/medseg train data_manifests/brain_tumor.json -o runs/brain_tumor_first --fold 4/4 \
	    --steps 15000 --set optimiser.ema=0.999
	test -d runs/brain_tumor_mr_segmentation || \
	  $(BIN)/medseg train data_manifests/brain_tumor.json -o runs/brain_tumor_mr_segmentation --fold 4/4 \
	    --pretrained runs/brain_tumor_first --steps 6000 --set optimiser.ema=0.999 --set optimiser.rate=0.0015 \
	    --set optimiser.weight_decay=0.05 --set augment.spatial_chance=0.9 --set augment.rotation_degrees=45 \
	    --set augment.scale=1.6 --set augment.elastic_voxels=4 --set augment.intensity_chance=0.5

train-all: train-hippocampus train-nuclei train-tumour  ## all three, one after the other; goes on where it was stopped

BENCH := .venv-bench
BENCH_STAMP := $(BENCH)/.medseg-installed

$(BENCH_STAMP): pyproject.toml constraints.txt benchmarks/requirements.txt
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/pip install $(if $(TORCH_INDEX_URL),--extra-index-url $(TORCH_INDEX_URL)) -c constraints.txt '$(TORCH)'
	$(BENCH)/bin/pip install -c constraints.txt -e '.[openvino,onnx]' -r benchmarks/requirements.txt
	@touch $@

bench: $(BENCH_STAMP)  ## inference beside MONAI and nnU-Net; on an idle machine; writes benchmarks/RESULTS.md; QUICK=1 tries it
	$(BENCH)/bin/python benchmarks/table.py --run $(if $(QUICK),--quick)

bench-networks: install  ## UNet against UNet++, three seeds, every depth; hours; goes on; writes benchmarks/networks.md
	$(BIN)/python benchmarks/networks.py --threads 1

bench-training: install  ## training speed beside MONAI's own way; on an idle machine; writes benchmarks/training.md
	$(BIN)/python benchmarks/training.py $(if $(QUICK),--quick)

docs-inputs: install  ## docs/inputs.md from the tests of inputs
	$(BIN)/python -m tests.inputs.document

constraints: install  ## pin what is installed now
	$(BIN)/pip freeze --exclude medseg | sed 's/+[a-z0-9.]*$$//' > constraints.txt
	@touch $(STAMP)

docker:  ## the image medseg, CPU only; see the Dockerfile for GPUs
	docker build -t medseg .

clean:  ## remove caches and outputs, keep .venv and runs/
	rm -rf demo_output build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find medseg tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
