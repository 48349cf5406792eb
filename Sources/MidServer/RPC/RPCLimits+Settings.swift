import MidRPC
import NIOCore

extension RPCLimits {
  /// The limits that the configuration sets.
  init(_ settings: ServerConfiguration.GRPC) {
    self.init()
    self.maxConcurrentStreams = settings.maxStreams
    self.maxMessageBytes = settings.maxMessageBytes
    self.maxHeaderListBytes = settings.maxHeaderBytes
    self.connectionWindowBytes = settings.maxWindowBytes
    self.maxHeldBytes = settings.maxHeldBytes
    self.maxUnproductiveFrames = settings.maxUnproductiveFrames
    self.maxResets = settings.maxResets
    self.minPingInterval = TimeAmount(settings.pingMinInterval)
    self.maxPingStrikes = settings.pingStrikes
  }
}

extension RPCTimeouts {
  /// The timeouts that the configuration sets.
  init(_ settings: ServerConfiguration.GRPC) {
    self.init()
    self.firstRequest = TimeAmount(settings.firstRequestTimeout)
    self.stuck = TimeAmount(settings.stuckTimeout)
    self.keepalive = settings.keepaliveInterval.map { TimeAmount($0) }
    self.keepaliveAnswer = TimeAmount(settings.keepaliveTimeout)
    self.idle = settings.idleTimeout.map { TimeAmount($0) }
    self.age = settings.connectionAge.map { TimeAmount($0) }
  }
}
