"""A locked environment as an OCI image, made without a container engine."""

from sluice.oci.document import OciError
from sluice.oci.image import Image, export_image

__all__ = ["Image", "OciError", "export_image"]
