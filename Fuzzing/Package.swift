// swift-tools-version: 6.2
import PackageDescription

/// The settings of the package above.
let strict: [SwiftSetting] = [
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

/// Coverage counters that libFuzzer reads, in the code that is tried. The libraries below have none: a path through
/// them that changes nothing in ours is no news.
let instrumented: [SwiftSetting] =
  strict + [.unsafeFlags(["-sanitize=fuzzer", "-enable-testing"])]

// The same sources as the package above, by links, in as few targets as fuzzing them takes: without NIOPosix, NIOSSL and
// all that the server needs besides, so that it is built in a minute or two.
let package = Package(
  name: "mid-fuzzing",
  platforms: [.macOS(.v15)],
  dependencies: [
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
  ],
  targets: [
    .target(
      name: "MidRPC",
      dependencies: [
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHPACK", package: "swift-nio-http2"),
      ],
      swiftSettings: instrumented
    ),
    .target(
      name: "MidServer",
      dependencies: [.product(name: "NIOCore", package: "swift-nio")],
      swiftSettings: instrumented
    ),
    .systemLibrary(name: "CLibFuzzer"),
    .executableTarget(
      name: "MidFuzz",
      dependencies: [
        "CLibFuzzer", "MidRPC", "MidServer",
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHPACK", package: "swift-nio-http2"),
      ],
      swiftSettings: strict
    ),
  ]
)
