"""The Open Inference Protocol over gRPC. Imported only where it is served: it needs grpcio and protobuf."""
