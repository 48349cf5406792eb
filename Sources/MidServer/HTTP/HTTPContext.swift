import Hummingbird

/// What a handler knows of its request beside what the request says.
struct HTTPContext: RequestContext {
  var coreContext: CoreRequestContextStorage
  /// The connection that the request came on, as ``HTTPMemory`` names it.
  let connection: ObjectIdentifier

  init(source: ApplicationRequestContextSource) {
    self.coreContext = CoreRequestContextStorage(source: source)
    self.connection = ObjectIdentifier(source.channel)
  }
}
