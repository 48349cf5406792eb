@testable import MidRPC

/// What a server made of a frame, as far as two servers should agree.
struct Verdict: Equatable, CustomStringConvertible {
  /// The error that ended the connection.
  var goAway: HTTP2ErrorCode?
  /// The streams that were reset.
  var resets: [UInt32: HTTP2ErrorCode] = [:]
  var pingAnswers: [UInt64] = []
  var settingsAnswers = 0

  init(_ frames: [SeenFrame]) {
    for frame in frames {
      switch frame {
      case .goAway(_, let code) where code != .noError: self.goAway = code
      case .reset(let stream, let code): self.resets[stream] = code
      case .ping(let data, ack: true): self.pingAnswers.append(data)
      case .settingsAck: self.settingsAnswers += 1
      default: break
      }
    }
    // Nobody reads on once the connection ends.
    if self.goAway != nil { self.resets = [:] }
  }

  var description: String {
    if let goAway = self.goAway { return "ends the connection (\(goAway))" }
    if let code = self.resets.values.first { return "resets the stream (\(code))" }
    return "goes on"
  }
}
