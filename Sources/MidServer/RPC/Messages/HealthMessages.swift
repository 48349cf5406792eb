/// `grpc.health.v1.HealthCheckRequest`: is this service up?
package struct HealthCheckRequest: ProtobufMessage {
  /// Empty for the whole server; `pb.IDMaker`, `mid.v1.IDService`, or a mode: `snowflake`, `segment`.
  package var service: String

  /// Creates a request.
  package init(service: String = "") {
    self.service = service
  }

  package init(decoding bytes: UnsafeRawBufferPointer) throws(ProtobufError) {
    self.init()
    var reader = ProtobufReader(bytes)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .lengthDelimited): self.service = try reader.string()
      default: try reader.skip(tag)
      }
    }
  }

  package func encode(into writer: inout some ProtobufWriter) {
    writer.append(field: 1, string: self.service)
  }
}

/// `grpc.health.v1.HealthCheckResponse`: how the service is.
package struct HealthCheckResponse: ProtobufMessage {
  /// `grpc.health.v1.HealthCheckResponse.ServingStatus`. Open, as proto3's enumerations are: other numbers are kept.
  package struct ServingStatus: Sendable, Hashable {
    /// The number on the wire.
    package var rawValue: Int32

    /// Takes a number.
    package init(rawValue: Int32) {
      self.rawValue = rawValue
    }

    /// Not known.
    package static let unknown = ServingStatus(rawValue: 0)
    /// It answers calls.
    package static let serving = ServingStatus(rawValue: 1)
    /// It is there and can't answer calls now.
    package static let notServing = ServingStatus(rawValue: 2)
    /// There is no such service. Only `Watch` answers so; `Check` fails NOT_FOUND.
    package static let serviceUnknown = ServingStatus(rawValue: 3)
  }

  /// How the service is.
  package var status: ServingStatus

  /// Creates a response.
  package init(status: ServingStatus = .unknown) {
    self.status = status
  }

  package init(decoding bytes: UnsafeRawBufferPointer) throws(ProtobufError) {
    self.init()
    var reader = ProtobufReader(bytes)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .varint): self.status = ServingStatus(rawValue: Int32(truncatingIfNeeded: try reader.varint()))
      default: try reader.skip(tag)
      }
    }
  }

  package func encode(into writer: inout some ProtobufWriter) {
    writer.append(field: 1, enumeration: self.status.rawValue)
  }
}
