package dev.classrec.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * RecordingService records the classes of TalkCloud rooms.
 * Errors carry google.rpc.ErrorInfo (domain `classrec.dev`, a stable reason,
 * and metadata), BadRequest for INVALID_ARGUMENT, and RetryInfo where trying
 * again helps. Every call may answer UNAVAILABLE while the service starts,
 * stops, or cannot store, and INVALID_ARGUMENT for a field outside its rule.
 * What is over a limit of this service is RESOURCE_EXHAUSTED (LIMIT_EXCEEDED):
 * metadata `limit` names it (`recordings`, `rooms`, `watchers` or
 * `calls-per-second`), `value` is what it is set to, and `scope` tells whether it
 * is the caller's own (`tenant`) or that of all (`process`). RetryInfo says when
 * to come back. StopRecording is never refused so.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class RecordingServiceGrpc {

  private RecordingServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "classrec.v1.RecordingService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.classrec.v1.StartRecordingRequest,
      dev.classrec.v1.StartRecordingResponse> getStartRecordingMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "StartRecording",
      requestType = dev.classrec.v1.StartRecordingRequest.class,
      responseType = dev.classrec.v1.StartRecordingResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.classrec.v1.StartRecordingRequest,
      dev.classrec.v1.StartRecordingResponse> getStartRecordingMethod() {
    io.grpc.MethodDescriptor<dev.classrec.v1.StartRecordingRequest, dev.classrec.v1.StartRecordingResponse> getStartRecordingMethod;
    if ((getStartRecordingMethod = RecordingServiceGrpc.getStartRecordingMethod) == null) {
      synchronized (RecordingServiceGrpc.class) {
        if ((getStartRecordingMethod = RecordingServiceGrpc.getStartRecordingMethod) == null) {
          RecordingServiceGrpc.getStartRecordingMethod = getStartRecordingMethod =
              io.grpc.MethodDescriptor.<dev.classrec.v1.StartRecordingRequest, dev.classrec.v1.StartRecordingResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "StartRecording"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.classrec.v1.StartRecordingRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.classrec.v1.StartRecordingResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RecordingServiceMethodDescriptorSupplier("StartRecording"))
              .build();
        }
      }
    }
    return getStartRecordingMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.classrec.v1.StopRecordingRequest,
      dev.classrec.v1.StopRecordingResponse> getStopRecordingMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "StopRecording",
      requestType = dev.classrec.v1.StopRecordingRequest.class,
      responseType = dev.classrec.v1.StopRecordingResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.classrec.v1.StopRecordingRequest,
      dev.classrec.v1.StopRecordingResponse> getStopRecordingMethod() {
    io.grpc.MethodDescriptor<dev.classrec.v1.StopRecordingRequest, dev.classrec.v1.StopRecordingResponse> getStopRecordingMethod;
    if ((getStopRecordingMethod = RecordingServiceGrpc.getStopRecordingMethod) == null) {
      synchronized (RecordingServiceGrpc.class) {
        if ((getStopRecordingMethod = RecordingServiceGrpc.getStopRecordingMethod) == null) {
          RecordingServiceGrpc.getStopRecordingMethod = getStopRecordingMethod =
              io.grpc.MethodDescriptor.<dev.classrec.v1.StopRecordingRequest, dev.classrec.v1.StopRecordingResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "StopRecording"))
              .setIdempotent(true)
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.classrec.v1.StopRecordingRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.classrec.v1.StopRecordingResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RecordingServiceMethodDescriptorSupplier("StopRecording"))
              .build();
        }
      }
    }
    return getStopRecordingMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.classrec.v1.GetRecordingRequest,
      dev.classrec.v1.GetRecordingResponse> getGetRecordingMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetRecording",
      requestType = dev.classrec.v1.GetRecordingRequest.class,
      responseType = dev.classrec.v1.GetRecordingResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.classrec.v1.GetRecordingRequest,
      dev.classrec.v1.GetRecordingResponse> getGetRecordingMethod() {
    io.grpc.MethodDescriptor<dev.classrec.v1.GetRecordingRequest, dev.classrec.v1.GetRecordingResponse> getGetRecordingMethod;
    if ((getGetRecordingMethod = RecordingServiceGrpc.getGetRecordingMethod) == null) {
      synchronized (RecordingServiceGrpc.class) {
        if ((getGetRecordingMethod = RecordingServiceGrpc.getGetRecordingMethod) == null) {
          RecordingServiceGrpc.getGetRecordingMethod = getGetRecordingMethod =
              io.grpc.MethodDescriptor.<dev.classrec.v1.GetRecordingRequest, dev.classrec.v1.GetRecordingResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetRecording"))
              .setSafe(true)
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.classrec.v1.GetRecordingRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.classrec.v1.GetRecordingResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RecordingServiceMethodDescriptorSupplier("GetRecording"))
              .build();
        }
      }
    }
    return getGetRecordingMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.classrec.v1.ListRecordingsRequest,
      dev.classrec.v1.ListRecordingsResponse> getListRecordingsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListRecordings",
      requestType = dev.classrec.v1.ListRecordingsRequest.class,
      responseType = dev.classrec.v1.ListRecordingsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.classrec.v1.ListRecordingsRequest,
      dev.classrec.v1.ListRecordingsResponse> getListRecordingsMethod() {
    io.grpc.MethodDescriptor<dev.classrec.v1.ListRecordingsRequest, dev.classrec.v1.ListRecordingsResponse> getListRecordingsMethod;
    if ((getListRecordingsMethod = RecordingServiceGrpc.getListRecordingsMethod) == null) {
      synchronized (RecordingServiceGrpc.class) {
        if ((getListRecordingsMethod = RecordingServiceGrpc.getListRecordingsMethod) == null) {
          RecordingServiceGrpc.getListRecordingsMethod = getListRecordingsMethod =
              io.grpc.MethodDescriptor.<dev.classrec.v1.ListRecordingsRequest, dev.classrec.v1.ListRecordingsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListRecordings"))
              .setSafe(true)
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.classrec.v1.ListRecordingsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.classrec.v1.ListRecordingsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RecordingServiceMethodDescriptorSupplier("ListRecordings"))
              .build();
        }
      }
    }
    return getListRecordingsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.classrec.v1.WatchClassBeginRequest,
      dev.classrec.v1.WatchClassBeginResponse> getWatchClassBeginMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "WatchClassBegin",
      requestType = dev.classrec.v1.WatchClassBeginRequest.class,
      responseType = dev.classrec.v1.WatchClassBeginResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<dev.classrec.v1.WatchClassBeginRequest,
      dev.classrec.v1.WatchClassBeginResponse> getWatchClassBeginMethod() {
    io.grpc.MethodDescriptor<dev.classrec.v1.WatchClassBeginRequest, dev.classrec.v1.WatchClassBeginResponse> getWatchClassBeginMethod;
    if ((getWatchClassBeginMethod = RecordingServiceGrpc.getWatchClassBeginMethod) == null) {
      synchronized (RecordingServiceGrpc.class) {
        if ((getWatchClassBeginMethod = RecordingServiceGrpc.getWatchClassBeginMethod) == null) {
          RecordingServiceGrpc.getWatchClassBeginMethod = getWatchClassBeginMethod =
              io.grpc.MethodDescriptor.<dev.classrec.v1.WatchClassBeginRequest, dev.classrec.v1.WatchClassBeginResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "WatchClassBegin"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.classrec.v1.WatchClassBeginRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.classrec.v1.WatchClassBeginResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RecordingServiceMethodDescriptorSupplier("WatchClassBegin"))
              .build();
        }
      }
    }
    return getWatchClassBeginMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static RecordingServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<RecordingServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<RecordingServiceStub>() {
        @java.lang.Override
        public RecordingServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new RecordingServiceStub(channel, callOptions);
        }
      };
    return RecordingServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static RecordingServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<RecordingServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<RecordingServiceBlockingV2Stub>() {
        @java.lang.Override
        public RecordingServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new RecordingServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return RecordingServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static RecordingServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<RecordingServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<RecordingServiceBlockingStub>() {
        @java.lang.Override
        public RecordingServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new RecordingServiceBlockingStub(channel, callOptions);
        }
      };
    return RecordingServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static RecordingServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<RecordingServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<RecordingServiceFutureStub>() {
        @java.lang.Override
        public RecordingServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new RecordingServiceFutureStub(channel, callOptions);
        }
      };
    return RecordingServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * RecordingService records the classes of TalkCloud rooms.
   * Errors carry google.rpc.ErrorInfo (domain `classrec.dev`, a stable reason,
   * and metadata), BadRequest for INVALID_ARGUMENT, and RetryInfo where trying
   * again helps. Every call may answer UNAVAILABLE while the service starts,
   * stops, or cannot store, and INVALID_ARGUMENT for a field outside its rule.
   * What is over a limit of this service is RESOURCE_EXHAUSTED (LIMIT_EXCEEDED):
   * metadata `limit` names it (`recordings`, `rooms`, `watchers` or
   * `calls-per-second`), `value` is what it is set to, and `scope` tells whether it
   * is the caller's own (`tenant`) or that of all (`process`). RetryInfo says when
   * to come back. StopRecording is never refused so.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * StartRecording joins the room, publishes ClassBegin, and returns once the
     * platform has echoed it: the recording is in RECORDING and has its
     * record_time.
     * Errors: ALREADY_EXISTS (CLASS_ALREADY_BEGUN; metadata `recording` names
     * the live one) when a class is on in the room; ALREADY_EXISTS
     * (REQUEST_ID_REUSED) when request_id came before with another payload;
     * NOT_FOUND for an unknown room; PERMISSION_DENIED for a wrong password;
     * FAILED_PRECONDITION where the platform cannot record so (FFMPEG_MISSING
     * on the embedded one) or refuses this service's enterprise key;
     * RESOURCE_EXHAUSTED when the platform is out of quota, or for the limits
     * `recordings`, `rooms` and `calls-per-second` (LIMIT_EXCEEDED);
     * UNAVAILABLE when it cannot be reached, DEADLINE_EXCEEDED when it does not
     * answer or confirm, INTERNAL when its answer makes no sense.
     * A caller that goes away leaves the start running: ask again with the same
     * request_id to learn how it went.
     * </pre>
     */
    default void startRecording(dev.classrec.v1.StartRecordingRequest request,
        io.grpc.stub.StreamObserver<dev.classrec.v1.StartRecordingResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getStartRecordingMethod(), responseObserver);
    }

    /**
     * <pre>
     * StopRecording deletes ClassBegin and returns once the delete has been
     * echoed: the recording is in PROCESSING or later. It may be called in every
     * state and any number of times: what is over already is returned as it is.
     * By room, it joins where this service is not there, so that a class begun
     * by somebody else ends too.
     * Errors: NOT_FOUND when the recording is unknown, or the room has no class
     * and never had one that this service knows of; UNAVAILABLE,
     * DEADLINE_EXCEEDED, PERMISSION_DENIED as for StartRecording. When the
     * platform cannot be reached the stop stays asked for, and happens as soon
     * as it can.
     * </pre>
     */
    default void stopRecording(dev.classrec.v1.StopRecordingRequest request,
        io.grpc.stub.StreamObserver<dev.classrec.v1.StopRecordingResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getStopRecordingMethod(), responseObserver);
    }

    /**
     * <pre>
     * GetRecording returns one recording, from this service's store or else from
     * the platform's list.
     * Errors: NOT_FOUND; RESOURCE_EXHAUSTED for the limit `calls-per-second`
     * (LIMIT_EXCEEDED); of what is not in the store UNAVAILABLE or
     * DEADLINE_EXCEEDED when the platform cannot be asked.
     * </pre>
     */
    default void getRecording(dev.classrec.v1.GetRecordingRequest request,
        io.grpc.stub.StreamObserver<dev.classrec.v1.GetRecordingResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetRecordingMethod(), responseObserver);
    }

    /**
     * <pre>
     * ListRecordings returns the platform's record list merged with what this
     * service knows, newest first. A URL that the platform lists and this
     * service does not know is listed too, with RECORDING_ORIGIN_PLATFORM.
     * A page is stable: recordings that begin later do not move it.
     * Whatever the platform does, the list has what this service knows and what is
     * understood of the platform's answer, and says in incomplete why there may be
     * more: that it is not reached, does not answer within five seconds (or three
     * quarters of the time that the caller has), refuses, or lists something that
     * makes no sense. A file is listed once, whatever the host, port, scheme and
     * query of its URL are. A page ends at page_size, or at 3 MiB.
     * Errors: INVALID_ARGUMENT without room and user_id, or for a page_token
     * that is not from the same list; RESOURCE_EXHAUSTED for the limit
     * `calls-per-second` (LIMIT_EXCEEDED).
     * </pre>
     */
    default void listRecordings(dev.classrec.v1.ListRecordingsRequest request,
        io.grpc.stub.StreamObserver<dev.classrec.v1.ListRecordingsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListRecordingsMethod(), responseObserver);
    }

    /**
     * <pre>
     * WatchClassBegin streams the adds and removes of ClassBegin. The service
     * joins the room and stays in it while somebody watches.
     * First come the classes that are on, as ADD events with in_list true; then
     * synced; then events as they happen. With after_sequence, first come the
     * events since then, once each and in order; then synced; then the live
     * ones. Heartbeats come between, each with the sequence to resume from.
     * Over REST the stream is NDJSON, or Server-Sent Events when asked for with
     * `Accept: text/event-stream` (the `id` of an event is its sequence, and
     * `Last-Event-ID` resumes).
     * Errors: NOT_FOUND, PERMISSION_DENIED, UNAVAILABLE, DEADLINE_EXCEEDED as
     * for StartRecording when the room cannot be entered; OUT_OF_RANGE
     * (SEQUENCE_TOO_OLD; metadata `oldest_sequence`: watch after one less to get
     * all that is left) when after_sequence is older than what is kept, or has
     * not been yet (SEQUENCE_UNKNOWN);
     * RESOURCE_EXHAUSTED (WATCHER_TOO_SLOW; metadata `resume_sequence`) when
     * the caller reads too slowly. After the two last, watch again.
     * RESOURCE_EXHAUSTED (LIMIT_EXCEEDED) for the limits `watchers`, `rooms` and
     * `calls-per-second`: come back after RetryInfo.
     * </pre>
     */
    default void watchClassBegin(dev.classrec.v1.WatchClassBeginRequest request,
        io.grpc.stub.StreamObserver<dev.classrec.v1.WatchClassBeginResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getWatchClassBeginMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service RecordingService.
   * <pre>
   * RecordingService records the classes of TalkCloud rooms.
   * Errors carry google.rpc.ErrorInfo (domain `classrec.dev`, a stable reason,
   * and metadata), BadRequest for INVALID_ARGUMENT, and RetryInfo where trying
   * again helps. Every call may answer UNAVAILABLE while the service starts,
   * stops, or cannot store, and INVALID_ARGUMENT for a field outside its rule.
   * What is over a limit of this service is RESOURCE_EXHAUSTED (LIMIT_EXCEEDED):
   * metadata `limit` names it (`recordings`, `rooms`, `watchers` or
   * `calls-per-second`), `value` is what it is set to, and `scope` tells whether it
   * is the caller's own (`tenant`) or that of all (`process`). RetryInfo says when
   * to come back. StopRecording is never refused so.
   * </pre>
   */
  public static abstract class RecordingServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return RecordingServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service RecordingService.
   * <pre>
   * RecordingService records the classes of TalkCloud rooms.
   * Errors carry google.rpc.ErrorInfo (domain `classrec.dev`, a stable reason,
   * and metadata), BadRequest for INVALID_ARGUMENT, and RetryInfo where trying
   * again helps. Every call may answer UNAVAILABLE while the service starts,
   * stops, or cannot store, and INVALID_ARGUMENT for a field outside its rule.
   * What is over a limit of this service is RESOURCE_EXHAUSTED (LIMIT_EXCEEDED):
   * metadata `limit` names it (`recordings`, `rooms`, `watchers` or
   * `calls-per-second`), `value` is what it is set to, and `scope` tells whether it
   * is the caller's own (`tenant`) or that of all (`process`). RetryInfo says when
   * to come back. StopRecording is never refused so.
   * </pre>
   */
  public static final class RecordingServiceStub
      extends io.grpc.stub.AbstractAsyncStub<RecordingServiceStub> {
    private RecordingServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected RecordingServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new RecordingServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * StartRecording joins the room, publishes ClassBegin, and returns once the
     * platform has echoed it: the recording is in RECORDING and has its
     * record_time.
     * Errors: ALREADY_EXISTS (CLASS_ALREADY_BEGUN; metadata `recording` names
     * the live one) when a class is on in the room; ALREADY_EXISTS
     * (REQUEST_ID_REUSED) when request_id came before with another payload;
     * NOT_FOUND for an unknown room; PERMISSION_DENIED for a wrong password;
     * FAILED_PRECONDITION where the platform cannot record so (FFMPEG_MISSING
     * on the embedded one) or refuses this service's enterprise key;
     * RESOURCE_EXHAUSTED when the platform is out of quota, or for the limits
     * `recordings`, `rooms` and `calls-per-second` (LIMIT_EXCEEDED);
     * UNAVAILABLE when it cannot be reached, DEADLINE_EXCEEDED when it does not
     * answer or confirm, INTERNAL when its answer makes no sense.
     * A caller that goes away leaves the start running: ask again with the same
     * request_id to learn how it went.
     * </pre>
     */
    public void startRecording(dev.classrec.v1.StartRecordingRequest request,
        io.grpc.stub.StreamObserver<dev.classrec.v1.StartRecordingResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getStartRecordingMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * StopRecording deletes ClassBegin and returns once the delete has been
     * echoed: the recording is in PROCESSING or later. It may be called in every
     * state and any number of times: what is over already is returned as it is.
     * By room, it joins where this service is not there, so that a class begun
     * by somebody else ends too.
     * Errors: NOT_FOUND when the recording is unknown, or the room has no class
     * and never had one that this service knows of; UNAVAILABLE,
     * DEADLINE_EXCEEDED, PERMISSION_DENIED as for StartRecording. When the
     * platform cannot be reached the stop stays asked for, and happens as soon
     * as it can.
     * </pre>
     */
    public void stopRecording(dev.classrec.v1.StopRecordingRequest request,
        io.grpc.stub.StreamObserver<dev.classrec.v1.StopRecordingResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getStopRecordingMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * GetRecording returns one recording, from this service's store or else from
     * the platform's list.
     * Errors: NOT_FOUND; RESOURCE_EXHAUSTED for the limit `calls-per-second`
     * (LIMIT_EXCEEDED); of what is not in the store UNAVAILABLE or
     * DEADLINE_EXCEEDED when the platform cannot be asked.
     * </pre>
     */
    public void getRecording(dev.classrec.v1.GetRecordingRequest request,
        io.grpc.stub.StreamObserver<dev.classrec.v1.GetRecordingResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetRecordingMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * ListRecordings returns the platform's record list merged with what this
     * service knows, newest first. A URL that the platform lists and this
     * service does not know is listed too, with RECORDING_ORIGIN_PLATFORM.
     * A page is stable: recordings that begin later do not move it.
     * Whatever the platform does, the list has what this service knows and what is
     * understood of the platform's answer, and says in incomplete why there may be
     * more: that it is not reached, does not answer within five seconds (or three
     * quarters of the time that the caller has), refuses, or lists something that
     * makes no sense. A file is listed once, whatever the host, port, scheme and
     * query of its URL are. A page ends at page_size, or at 3 MiB.
     * Errors: INVALID_ARGUMENT without room and user_id, or for a page_token
     * that is not from the same list; RESOURCE_EXHAUSTED for the limit
     * `calls-per-second` (LIMIT_EXCEEDED).
     * </pre>
     */
    public void listRecordings(dev.classrec.v1.ListRecordingsRequest request,
        io.grpc.stub.StreamObserver<dev.classrec.v1.ListRecordingsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListRecordingsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * WatchClassBegin streams the adds and removes of ClassBegin. The service
     * joins the room and stays in it while somebody watches.
     * First come the classes that are on, as ADD events with in_list true; then
     * synced; then events as they happen. With after_sequence, first come the
     * events since then, once each and in order; then synced; then the live
     * ones. Heartbeats come between, each with the sequence to resume from.
     * Over REST the stream is NDJSON, or Server-Sent Events when asked for with
     * `Accept: text/event-stream` (the `id` of an event is its sequence, and
     * `Last-Event-ID` resumes).
     * Errors: NOT_FOUND, PERMISSION_DENIED, UNAVAILABLE, DEADLINE_EXCEEDED as
     * for StartRecording when the room cannot be entered; OUT_OF_RANGE
     * (SEQUENCE_TOO_OLD; metadata `oldest_sequence`: watch after one less to get
     * all that is left) when after_sequence is older than what is kept, or has
     * not been yet (SEQUENCE_UNKNOWN);
     * RESOURCE_EXHAUSTED (WATCHER_TOO_SLOW; metadata `resume_sequence`) when
     * the caller reads too slowly. After the two last, watch again.
     * RESOURCE_EXHAUSTED (LIMIT_EXCEEDED) for the limits `watchers`, `rooms` and
     * `calls-per-second`: come back after RetryInfo.
     * </pre>
     */
    public void watchClassBegin(dev.classrec.v1.WatchClassBeginRequest request,
        io.grpc.stub.StreamObserver<dev.classrec.v1.WatchClassBeginResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getWatchClassBeginMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service RecordingService.
   * <pre>
   * RecordingService records the classes of TalkCloud rooms.
   * Errors carry google.rpc.ErrorInfo (domain `classrec.dev`, a stable reason,
   * and metadata), BadRequest for INVALID_ARGUMENT, and RetryInfo where trying
   * again helps. Every call may answer UNAVAILABLE while the service starts,
   * stops, or cannot store, and INVALID_ARGUMENT for a field outside its rule.
   * What is over a limit of this service is RESOURCE_EXHAUSTED (LIMIT_EXCEEDED):
   * metadata `limit` names it (`recordings`, `rooms`, `watchers` or
   * `calls-per-second`), `value` is what it is set to, and `scope` tells whether it
   * is the caller's own (`tenant`) or that of all (`process`). RetryInfo says when
   * to come back. StopRecording is never refused so.
   * </pre>
   */
  public static final class RecordingServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<RecordingServiceBlockingV2Stub> {
    private RecordingServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected RecordingServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new RecordingServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * StartRecording joins the room, publishes ClassBegin, and returns once the
     * platform has echoed it: the recording is in RECORDING and has its
     * record_time.
     * Errors: ALREADY_EXISTS (CLASS_ALREADY_BEGUN; metadata `recording` names
     * the live one) when a class is on in the room; ALREADY_EXISTS
     * (REQUEST_ID_REUSED) when request_id came before with another payload;
     * NOT_FOUND for an unknown room; PERMISSION_DENIED for a wrong password;
     * FAILED_PRECONDITION where the platform cannot record so (FFMPEG_MISSING
     * on the embedded one) or refuses this service's enterprise key;
     * RESOURCE_EXHAUSTED when the platform is out of quota, or for the limits
     * `recordings`, `rooms` and `calls-per-second` (LIMIT_EXCEEDED);
     * UNAVAILABLE when it cannot be reached, DEADLINE_EXCEEDED when it does not
     * answer or confirm, INTERNAL when its answer makes no sense.
     * A caller that goes away leaves the start running: ask again with the same
     * request_id to learn how it went.
     * </pre>
     */
    public dev.classrec.v1.StartRecordingResponse startRecording(dev.classrec.v1.StartRecordingRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getStartRecordingMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * StopRecording deletes ClassBegin and returns once the delete has been
     * echoed: the recording is in PROCESSING or later. It may be called in every
     * state and any number of times: what is over already is returned as it is.
     * By room, it joins where this service is not there, so that a class begun
     * by somebody else ends too.
     * Errors: NOT_FOUND when the recording is unknown, or the room has no class
     * and never had one that this service knows of; UNAVAILABLE,
     * DEADLINE_EXCEEDED, PERMISSION_DENIED as for StartRecording. When the
     * platform cannot be reached the stop stays asked for, and happens as soon
     * as it can.
     * </pre>
     */
    public dev.classrec.v1.StopRecordingResponse stopRecording(dev.classrec.v1.StopRecordingRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getStopRecordingMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * GetRecording returns one recording, from this service's store or else from
     * the platform's list.
     * Errors: NOT_FOUND; RESOURCE_EXHAUSTED for the limit `calls-per-second`
     * (LIMIT_EXCEEDED); of what is not in the store UNAVAILABLE or
     * DEADLINE_EXCEEDED when the platform cannot be asked.
     * </pre>
     */
    public dev.classrec.v1.GetRecordingResponse getRecording(dev.classrec.v1.GetRecordingRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetRecordingMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ListRecordings returns the platform's record list merged with what this
     * service knows, newest first. A URL that the platform lists and this
     * service does not know is listed too, with RECORDING_ORIGIN_PLATFORM.
     * A page is stable: recordings that begin later do not move it.
     * Whatever the platform does, the list has what this service knows and what is
     * understood of the platform's answer, and says in incomplete why there may be
     * more: that it is not reached, does not answer within five seconds (or three
     * quarters of the time that the caller has), refuses, or lists something that
     * makes no sense. A file is listed once, whatever the host, port, scheme and
     * query of its URL are. A page ends at page_size, or at 3 MiB.
     * Errors: INVALID_ARGUMENT without room and user_id, or for a page_token
     * that is not from the same list; RESOURCE_EXHAUSTED for the limit
     * `calls-per-second` (LIMIT_EXCEEDED).
     * </pre>
     */
    public dev.classrec.v1.ListRecordingsResponse listRecordings(dev.classrec.v1.ListRecordingsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListRecordingsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * WatchClassBegin streams the adds and removes of ClassBegin. The service
     * joins the room and stays in it while somebody watches.
     * First come the classes that are on, as ADD events with in_list true; then
     * synced; then events as they happen. With after_sequence, first come the
     * events since then, once each and in order; then synced; then the live
     * ones. Heartbeats come between, each with the sequence to resume from.
     * Over REST the stream is NDJSON, or Server-Sent Events when asked for with
     * `Accept: text/event-stream` (the `id` of an event is its sequence, and
     * `Last-Event-ID` resumes).
     * Errors: NOT_FOUND, PERMISSION_DENIED, UNAVAILABLE, DEADLINE_EXCEEDED as
     * for StartRecording when the room cannot be entered; OUT_OF_RANGE
     * (SEQUENCE_TOO_OLD; metadata `oldest_sequence`: watch after one less to get
     * all that is left) when after_sequence is older than what is kept, or has
     * not been yet (SEQUENCE_UNKNOWN);
     * RESOURCE_EXHAUSTED (WATCHER_TOO_SLOW; metadata `resume_sequence`) when
     * the caller reads too slowly. After the two last, watch again.
     * RESOURCE_EXHAUSTED (LIMIT_EXCEEDED) for the limits `watchers`, `rooms` and
     * `calls-per-second`: come back after RetryInfo.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, dev.classrec.v1.WatchClassBeginResponse>
        watchClassBegin(dev.classrec.v1.WatchClassBeginRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getWatchClassBeginMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service RecordingService.
   * <pre>
   * RecordingService records the classes of TalkCloud rooms.
   * Errors carry google.rpc.ErrorInfo (domain `classrec.dev`, a stable reason,
   * and metadata), BadRequest for INVALID_ARGUMENT, and RetryInfo where trying
   * again helps. Every call may answer UNAVAILABLE while the service starts,
   * stops, or cannot store, and INVALID_ARGUMENT for a field outside its rule.
   * What is over a limit of this service is RESOURCE_EXHAUSTED (LIMIT_EXCEEDED):
   * metadata `limit` names it (`recordings`, `rooms`, `watchers` or
   * `calls-per-second`), `value` is what it is set to, and `scope` tells whether it
   * is the caller's own (`tenant`) or that of all (`process`). RetryInfo says when
   * to come back. StopRecording is never refused so.
   * </pre>
   */
  public static final class RecordingServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<RecordingServiceBlockingStub> {
    private RecordingServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected RecordingServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new RecordingServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * StartRecording joins the room, publishes ClassBegin, and returns once the
     * platform has echoed it: the recording is in RECORDING and has its
     * record_time.
     * Errors: ALREADY_EXISTS (CLASS_ALREADY_BEGUN; metadata `recording` names
     * the live one) when a class is on in the room; ALREADY_EXISTS
     * (REQUEST_ID_REUSED) when request_id came before with another payload;
     * NOT_FOUND for an unknown room; PERMISSION_DENIED for a wrong password;
     * FAILED_PRECONDITION where the platform cannot record so (FFMPEG_MISSING
     * on the embedded one) or refuses this service's enterprise key;
     * RESOURCE_EXHAUSTED when the platform is out of quota, or for the limits
     * `recordings`, `rooms` and `calls-per-second` (LIMIT_EXCEEDED);
     * UNAVAILABLE when it cannot be reached, DEADLINE_EXCEEDED when it does not
     * answer or confirm, INTERNAL when its answer makes no sense.
     * A caller that goes away leaves the start running: ask again with the same
     * request_id to learn how it went.
     * </pre>
     */
    public dev.classrec.v1.StartRecordingResponse startRecording(dev.classrec.v1.StartRecordingRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getStartRecordingMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * StopRecording deletes ClassBegin and returns once the delete has been
     * echoed: the recording is in PROCESSING or later. It may be called in every
     * state and any number of times: what is over already is returned as it is.
     * By room, it joins where this service is not there, so that a class begun
     * by somebody else ends too.
     * Errors: NOT_FOUND when the recording is unknown, or the room has no class
     * and never had one that this service knows of; UNAVAILABLE,
     * DEADLINE_EXCEEDED, PERMISSION_DENIED as for StartRecording. When the
     * platform cannot be reached the stop stays asked for, and happens as soon
     * as it can.
     * </pre>
     */
    public dev.classrec.v1.StopRecordingResponse stopRecording(dev.classrec.v1.StopRecordingRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getStopRecordingMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * GetRecording returns one recording, from this service's store or else from
     * the platform's list.
     * Errors: NOT_FOUND; RESOURCE_EXHAUSTED for the limit `calls-per-second`
     * (LIMIT_EXCEEDED); of what is not in the store UNAVAILABLE or
     * DEADLINE_EXCEEDED when the platform cannot be asked.
     * </pre>
     */
    public dev.classrec.v1.GetRecordingResponse getRecording(dev.classrec.v1.GetRecordingRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetRecordingMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ListRecordings returns the platform's record list merged with what this
     * service knows, newest first. A URL that the platform lists and this
     * service does not know is listed too, with RECORDING_ORIGIN_PLATFORM.
     * A page is stable: recordings that begin later do not move it.
     * Whatever the platform does, the list has what this service knows and what is
     * understood of the platform's answer, and says in incomplete why there may be
     * more: that it is not reached, does not answer within five seconds (or three
     * quarters of the time that the caller has), refuses, or lists something that
     * makes no sense. A file is listed once, whatever the host, port, scheme and
     * query of its URL are. A page ends at page_size, or at 3 MiB.
     * Errors: INVALID_ARGUMENT without room and user_id, or for a page_token
     * that is not from the same list; RESOURCE_EXHAUSTED for the limit
     * `calls-per-second` (LIMIT_EXCEEDED).
     * </pre>
     */
    public dev.classrec.v1.ListRecordingsResponse listRecordings(dev.classrec.v1.ListRecordingsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListRecordingsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * WatchClassBegin streams the adds and removes of ClassBegin. The service
     * joins the room and stays in it while somebody watches.
     * First come the classes that are on, as ADD events with in_list true; then
     * synced; then events as they happen. With after_sequence, first come the
     * events since then, once each and in order; then synced; then the live
     * ones. Heartbeats come between, each with the sequence to resume from.
     * Over REST the stream is NDJSON, or Server-Sent Events when asked for with
     * `Accept: text/event-stream` (the `id` of an event is its sequence, and
     * `Last-Event-ID` resumes).
     * Errors: NOT_FOUND, PERMISSION_DENIED, UNAVAILABLE, DEADLINE_EXCEEDED as
     * for StartRecording when the room cannot be entered; OUT_OF_RANGE
     * (SEQUENCE_TOO_OLD; metadata `oldest_sequence`: watch after one less to get
     * all that is left) when after_sequence is older than what is kept, or has
     * not been yet (SEQUENCE_UNKNOWN);
     * RESOURCE_EXHAUSTED (WATCHER_TOO_SLOW; metadata `resume_sequence`) when
     * the caller reads too slowly. After the two last, watch again.
     * RESOURCE_EXHAUSTED (LIMIT_EXCEEDED) for the limits `watchers`, `rooms` and
     * `calls-per-second`: come back after RetryInfo.
     * </pre>
     */
    public java.util.Iterator<dev.classrec.v1.WatchClassBeginResponse> watchClassBegin(
        dev.classrec.v1.WatchClassBeginRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getWatchClassBeginMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service RecordingService.
   * <pre>
   * RecordingService records the classes of TalkCloud rooms.
   * Errors carry google.rpc.ErrorInfo (domain `classrec.dev`, a stable reason,
   * and metadata), BadRequest for INVALID_ARGUMENT, and RetryInfo where trying
   * again helps. Every call may answer UNAVAILABLE while the service starts,
   * stops, or cannot store, and INVALID_ARGUMENT for a field outside its rule.
   * What is over a limit of this service is RESOURCE_EXHAUSTED (LIMIT_EXCEEDED):
   * metadata `limit` names it (`recordings`, `rooms`, `watchers` or
   * `calls-per-second`), `value` is what it is set to, and `scope` tells whether it
   * is the caller's own (`tenant`) or that of all (`process`). RetryInfo says when
   * to come back. StopRecording is never refused so.
   * </pre>
   */
  public static final class RecordingServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<RecordingServiceFutureStub> {
    private RecordingServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected RecordingServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new RecordingServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * StartRecording joins the room, publishes ClassBegin, and returns once the
     * platform has echoed it: the recording is in RECORDING and has its
     * record_time.
     * Errors: ALREADY_EXISTS (CLASS_ALREADY_BEGUN; metadata `recording` names
     * the live one) when a class is on in the room; ALREADY_EXISTS
     * (REQUEST_ID_REUSED) when request_id came before with another payload;
     * NOT_FOUND for an unknown room; PERMISSION_DENIED for a wrong password;
     * FAILED_PRECONDITION where the platform cannot record so (FFMPEG_MISSING
     * on the embedded one) or refuses this service's enterprise key;
     * RESOURCE_EXHAUSTED when the platform is out of quota, or for the limits
     * `recordings`, `rooms` and `calls-per-second` (LIMIT_EXCEEDED);
     * UNAVAILABLE when it cannot be reached, DEADLINE_EXCEEDED when it does not
     * answer or confirm, INTERNAL when its answer makes no sense.
     * A caller that goes away leaves the start running: ask again with the same
     * request_id to learn how it went.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.classrec.v1.StartRecordingResponse> startRecording(
        dev.classrec.v1.StartRecordingRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getStartRecordingMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * StopRecording deletes ClassBegin and returns once the delete has been
     * echoed: the recording is in PROCESSING or later. It may be called in every
     * state and any number of times: what is over already is returned as it is.
     * By room, it joins where this service is not there, so that a class begun
     * by somebody else ends too.
     * Errors: NOT_FOUND when the recording is unknown, or the room has no class
     * and never had one that this service knows of; UNAVAILABLE,
     * DEADLINE_EXCEEDED, PERMISSION_DENIED as for StartRecording. When the
     * platform cannot be reached the stop stays asked for, and happens as soon
     * as it can.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.classrec.v1.StopRecordingResponse> stopRecording(
        dev.classrec.v1.StopRecordingRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getStopRecordingMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * GetRecording returns one recording, from this service's store or else from
     * the platform's list.
     * Errors: NOT_FOUND; RESOURCE_EXHAUSTED for the limit `calls-per-second`
     * (LIMIT_EXCEEDED); of what is not in the store UNAVAILABLE or
     * DEADLINE_EXCEEDED when the platform cannot be asked.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.classrec.v1.GetRecordingResponse> getRecording(
        dev.classrec.v1.GetRecordingRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetRecordingMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * ListRecordings returns the platform's record list merged with what this
     * service knows, newest first. A URL that the platform lists and this
     * service does not know is listed too, with RECORDING_ORIGIN_PLATFORM.
     * A page is stable: recordings that begin later do not move it.
     * Whatever the platform does, the list has what this service knows and what is
     * understood of the platform's answer, and says in incomplete why there may be
     * more: that it is not reached, does not answer within five seconds (or three
     * quarters of the time that the caller has), refuses, or lists something that
     * makes no sense. A file is listed once, whatever the host, port, scheme and
     * query of its URL are. A page ends at page_size, or at 3 MiB.
     * Errors: INVALID_ARGUMENT without room and user_id, or for a page_token
     * that is not from the same list; RESOURCE_EXHAUSTED for the limit
     * `calls-per-second` (LIMIT_EXCEEDED).
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.classrec.v1.ListRecordingsResponse> listRecordings(
        dev.classrec.v1.ListRecordingsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListRecordingsMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_START_RECORDING = 0;
  private static final int METHODID_STOP_RECORDING = 1;
  private static final int METHODID_GET_RECORDING = 2;
  private static final int METHODID_LIST_RECORDINGS = 3;
  private static final int METHODID_WATCH_CLASS_BEGIN = 4;

  private static final class MethodHandlers<Req, Resp> implements
      io.grpc.stub.ServerCalls.UnaryMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ServerStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ClientStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.BidiStreamingMethod<Req, Resp> {
    private final AsyncService serviceImpl;
    private final int methodId;

    MethodHandlers(AsyncService serviceImpl, int methodId) {
      this.serviceImpl = serviceImpl;
      this.methodId = methodId;
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public void invoke(Req request, io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        case METHODID_START_RECORDING:
          serviceImpl.startRecording((dev.classrec.v1.StartRecordingRequest) request,
              (io.grpc.stub.StreamObserver<dev.classrec.v1.StartRecordingResponse>) responseObserver);
          break;
        case METHODID_STOP_RECORDING:
          serviceImpl.stopRecording((dev.classrec.v1.StopRecordingRequest) request,
              (io.grpc.stub.StreamObserver<dev.classrec.v1.StopRecordingResponse>) responseObserver);
          break;
        case METHODID_GET_RECORDING:
          serviceImpl.getRecording((dev.classrec.v1.GetRecordingRequest) request,
              (io.grpc.stub.StreamObserver<dev.classrec.v1.GetRecordingResponse>) responseObserver);
          break;
        case METHODID_LIST_RECORDINGS:
          serviceImpl.listRecordings((dev.classrec.v1.ListRecordingsRequest) request,
              (io.grpc.stub.StreamObserver<dev.classrec.v1.ListRecordingsResponse>) responseObserver);
          break;
        case METHODID_WATCH_CLASS_BEGIN:
          serviceImpl.watchClassBegin((dev.classrec.v1.WatchClassBeginRequest) request,
              (io.grpc.stub.StreamObserver<dev.classrec.v1.WatchClassBeginResponse>) responseObserver);
          break;
        default:
          throw new AssertionError();
      }
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public io.grpc.stub.StreamObserver<Req> invoke(
        io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        default:
          throw new AssertionError();
      }
    }
  }

  public static final io.grpc.ServerServiceDefinition bindService(AsyncService service) {
    return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
        .addMethod(
          getStartRecordingMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.classrec.v1.StartRecordingRequest,
              dev.classrec.v1.StartRecordingResponse>(
                service, METHODID_START_RECORDING)))
        .addMethod(
          getStopRecordingMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.classrec.v1.StopRecordingRequest,
              dev.classrec.v1.StopRecordingResponse>(
                service, METHODID_STOP_RECORDING)))
        .addMethod(
          getGetRecordingMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.classrec.v1.GetRecordingRequest,
              dev.classrec.v1.GetRecordingResponse>(
                service, METHODID_GET_RECORDING)))
        .addMethod(
          getListRecordingsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.classrec.v1.ListRecordingsRequest,
              dev.classrec.v1.ListRecordingsResponse>(
                service, METHODID_LIST_RECORDINGS)))
        .addMethod(
          getWatchClassBeginMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              dev.classrec.v1.WatchClassBeginRequest,
              dev.classrec.v1.WatchClassBeginResponse>(
                service, METHODID_WATCH_CLASS_BEGIN)))
        .build();
  }

  private static abstract class RecordingServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    RecordingServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.classrec.v1.RecordingServiceProto.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("RecordingService");
    }
  }

  private static final class RecordingServiceFileDescriptorSupplier
      extends RecordingServiceBaseDescriptorSupplier {
    RecordingServiceFileDescriptorSupplier() {}
  }

  private static final class RecordingServiceMethodDescriptorSupplier
      extends RecordingServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    RecordingServiceMethodDescriptorSupplier(java.lang.String methodName) {
      this.methodName = methodName;
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.MethodDescriptor getMethodDescriptor() {
      return getServiceDescriptor().findMethodByName(methodName);
    }
  }

  private static volatile io.grpc.ServiceDescriptor serviceDescriptor;

  public static io.grpc.ServiceDescriptor getServiceDescriptor() {
    io.grpc.ServiceDescriptor result = serviceDescriptor;
    if (result == null) {
      synchronized (RecordingServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new RecordingServiceFileDescriptorSupplier())
              .addMethod(getStartRecordingMethod())
              .addMethod(getStopRecordingMethod())
              .addMethod(getGetRecordingMethod())
              .addMethod(getListRecordingsMethod())
              .addMethod(getWatchClassBeginMethod())
              .build();
        }
      }
    }
    return result;
  }
}
