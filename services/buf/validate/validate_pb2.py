"""`buf/validate/validate.proto` for the google.protobuf runtime.

protovalidate carries the file's descriptor for its own runtime only, while the stubs of
`selfie.v1` need it as a google.protobuf module of this name. So it is built from there when
it is first imported, and nothing of it is kept in this repository.
"""

# Importing a module registers its file in the default pool.
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    field_mask_pb2,
    timestamp_pb2,
)
from google.protobuf.internal import builder
from protovalidate._gen.buf.validate import validate_pb

DESCRIPTOR = descriptor_pool.Default().AddSerializedFile(validate_pb.desc().proto.to_binary())
builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, globals())
builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, "buf.validate.validate_pb2", globals())
