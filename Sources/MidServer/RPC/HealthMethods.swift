package import MidRPC
import NIOCore
import Synchronization

/// Says once and for all that the server is stopping.
package final class StopFlag: Sendable {
  private let state = Atomic<Bool>(false)

  /// Creates a flag that is down.
  package init() {}

  /// Whether ``raise()`` was called.
  package var isRaised: Bool { self.state.load(ordering: .relaxed) }

  /// Raises the flag.
  package func raise() { self.state.store(true, ordering: .relaxed) }
}

/// `grpc.health.v1.Health/Check`: whether this node serves now, as a whole, by service and by mode.
/// Source: gRPC's health checking protocol.
package struct HealthMethods: Sendable {
  /// Whether Snowflake ids can be had.
  package var isSnowflakeReady: @Sendable () -> Bool
  /// Whether segment ids can be had.
  package var isSegmentReady: @Sendable () -> Bool
  /// Whether tickets can be had. They do not count for the server as a whole: their databases are asked only when calls
  /// come, and may be others than the store.
  package var isTicketReady: @Sendable () -> Bool
  /// Whether opaque numbers can be made of ids, nil where there are no keys for them. They do not count for the server as a
  /// whole: ids can be had without.
  package var isOpaqueReady: (@Sendable () -> Bool)?
  /// The services that need no ids and are well while the server takes calls.
  package let otherServices: [String]

  /// Raised when the server begins to stop: nothing is ready from then on.
  package let stopping = StopFlag()

  /// Creates the method's state.
  ///
  /// - Parameters:
  ///   - isSnowflakeReady: whether Snowflake ids can be had.
  ///   - isSegmentReady: whether segment ids can be had.
  ///   - isTicketReady: whether tickets can be had.
  ///   - isOpaqueReady: whether opaque numbers can be made; nil where nobody asks for them.
  ///   - hasReflection: whether the server has server reflection, whose services are known then.
  package init(
    isSnowflakeReady: @escaping @Sendable () -> Bool, isSegmentReady: @escaping @Sendable () -> Bool,
    isTicketReady: @escaping @Sendable () -> Bool, isOpaqueReady: (@Sendable () -> Bool)? = nil,
    hasReflection: Bool = true
  ) {
    self.isSnowflakeReady = isSnowflakeReady
    self.isSegmentReady = isSegmentReady
    self.isTicketReady = isTicketReady
    self.isOpaqueReady = isOpaqueReady
    self.otherServices = ["grpc.health.v1.Health"] + (hasReflection ? ReflectionMethods.services : [])
  }

  /// Whether `service` serves, or nil for a name that nobody knows.
  package func isServing(_ service: String) -> Bool? {
    let isUp = !self.stopping.isRaised
    return switch service {
    case "", "pb.IDMaker", "mid.v1.IDService": isUp && self.isSnowflakeReady() && self.isSegmentReady()
    case "snowflake": isUp && self.isSnowflakeReady()
    case "segment": isUp && self.isSegmentReady()
    case "ticket": isUp && self.isTicketReady()
    case "opaque": self.isOpaqueReady.map { isUp && $0() }
    default: self.otherServices.contains(service) ? isUp : nil
    }
  }

  /// The method for a server.
  package var check: RPCMethod {
    RPCMethod(path: "/grpc.health.v1.Health/Check") { _, message, response in
      let request: HealthCheckRequest
      do throws(ProtobufError) {
        request = try HealthCheckRequest(decoding: message)
      } catch {
        return .failure(RPCStatus(.internalError, "the request is not a protobuf message: \(error)"))
      }
      guard let isServing = self.isServing(request.service) else {
        let known =
          ["pb.IDMaker, mid.v1.IDService, snowflake, segment, ticket"] + (self.isOpaqueReady == nil ? [] : ["opaque"])
          + self.otherServices
        return .failure(RPCStatus(.notFound, "unknown service; known: \(known.joined(separator: ", "))"))
      }
      HealthCheckResponse(status: isServing ? .serving : .notServing).encode(into: &response)
      return .reply
    }
  }
}
