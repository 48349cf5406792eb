import MidRPC
import NIOCore

extension RPCTimeouts {
  /// For tests that are about no time: a test's task may have to wait for its turn longer than a client may for its first
  /// request, and a client whose task waits answers no PING.
  static var patient: RPCTimeouts {
    var timeouts = RPCTimeouts()
    timeouts.firstRequest = .minutes(5)
    timeouts.stuck = .minutes(5)
    timeouts.keepalive = nil
    return timeouts
  }
}
